// Keeps the shell (the page, its scripts and styles), so that the application opens without a network. Answers of the API are never
// kept: money is told by the server or not at all.
const shell = 'shell-1';
const entry = '/';

const assetsOf = (html) => [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1]);

async function keepShell() {
  const cache = await caches.open(shell);
  const page = await fetch(entry, { cache: 'no-cache' });
  if (!page.ok) throw new Error(`the page answers ${page.status}`);
  const assets = assetsOf(await page.clone().text());
  await cache.addAll(assets);
  await cache.put(entry, page);
  // Files of older builds: a page that is open may still load one, so only those that this page does not name go, when it is kept.
  const kept = new Set([entry, ...assets]);
  for (const request of await cache.keys())
    if (!kept.has(new URL(request.url).pathname)) await cache.delete(request);
}

async function page(request) {
  try {
    const answer = await fetch(request);
    if (answer.ok) return answer;
  } catch {}
  return (await caches.match(entry)) ?? Response.error();
}

async function asset(request) {
  const kept = await caches.match(request);
  if (kept !== undefined) return kept;
  const answer = await fetch(request);
  // Names of /assets/ hold a digest of their content: what is kept never grows old.
  if (answer.ok && new URL(request.url).pathname.startsWith('/assets/'))
    await (await caches.open(shell)).put(request, answer.clone());
  return answer;
}

self.addEventListener('install', (event) => event.waitUntil(keepShell().then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin || url.pathname.startsWith('/v1/'))
    return;
  event.respondWith(request.mode === 'navigate' ? page(request) : asset(request));
});
