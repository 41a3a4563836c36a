import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { ApiError } from './lib/api.ts';
import './styles.css';

const retriesMax = 3;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // A refusal stays one; what had no answer may get one.
      retry: (count, error) => count < retriesMax && !(error instanceof ApiError && error.status < 500),
      staleTime: 5_000,
      networkMode: 'always',
    },
    mutations: { networkMode: 'always' },
  },
});

const root = document.getElementById('root');
if (root === null) throw new Error('the page has no #root');
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);

if ('serviceWorker' in navigator && import.meta.env.PROD)
  void navigator.serviceWorker.register('/sw.js').catch(() => {
    // Without it the pages work all the same; they only do not open offline.
  });
