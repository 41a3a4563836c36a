import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    target: ['chrome123', 'safari17.5', 'firefox128'],
    // The content security policy allows no data: URLs but of images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1_500,
  },
  server: {
    proxy: { '/v1': { target: 'http://127.0.0.1:8480', changeOrigin: false } },
  },
});
