/** The built pages on a service of their own, opened by headless Chromium as phones with mocked positions. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { App } from '#payments/app.ts';
import { start } from '#payments/start.ts';
import { ensurePages } from '../../../../../apps/payments/web/build.ts';
import {
  axeSource,
  type Browser,
  type BrowserContext,
  chromium,
  type Page,
} from '../../../../../apps/payments/web/testing/browser.ts';
import { atEnd, testDatabase } from '../../support/database.ts';
import { near, operatorToken } from '../../support/service.ts';
import { type Network, openNetwork } from './proxy.ts';

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const actionMsMax = 15_000;
export const phoneSize = { width: 360, height: 740 };

export interface Phone {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Goes to a page of the application within the page, as its own links do. */
  open(path: string): Promise<void>;
  /** Moves: metres and degrees from the square. */
  move(metres: number, degrees?: number): Promise<void>;
  /** Measures again where it is: a mocked position keeps the time at which it was set. */
  measure(): Promise<void>;
}

export interface Pages {
  readonly url: string;
  readonly app: App;
  readonly network: Network;
  /** Moves the clocks of the service and of all its phones on. */
  pass(ms: number): Promise<void>;
  /** A phone that nobody is signed in on. Without a place its position is not allowed. */
  fresh(options?: PhoneOptions): Promise<Phone>;
  /** A phone of a demo person. */
  phone(name: string, options?: PhoneOptions): Promise<Phone>;
}

export interface PhoneOptions {
  /** Metres and degrees from the square's middle. */
  readonly at?: readonly [number, number];
  readonly dark?: boolean;
  readonly serviceWorker?: boolean;
  readonly size?: { readonly width: number; readonly height: number };
}

export interface PagesOptions {
  /** A partner counts this long after being named. Default: at once. */
  readonly partnerRestMs?: number;
}

/** In a page: its clock and its positions' are ahead by `clockAheadMs`. */
const clockOfTests = `{
  const now = Date.now.bind(Date);
  const ahead = () => globalThis.clockAheadMs ?? 0;
  Date.now = () => now() + ahead();
  if (typeof GeolocationPosition === 'function') {
    const { get } = Object.getOwnPropertyDescriptor(GeolocationPosition.prototype, 'timestamp');
    Object.defineProperty(GeolocationPosition.prototype, 'timestamp', { get() { return get.call(this) + ahead(); } });
  }
}`;

export async function openPages(options: PagesOptions = {}): Promise<Pages> {
  ensurePages();
  const network = await openNetwork();
  atEnd(() => network.close());
  const { url: databaseUrl } = await testDatabase();
  // Passkeys are bound to a name; numbers of hosts have none.
  const url = `http://localhost:${network.port}`;
  let aheadMs = 0;
  const running = await start(
    {
      databaseUrl,
      mode: 'demo',
      port: 0,
      origin: url,
      operatorToken,
      accountRequestsPerS: 1_000,
      partnerRestMs: options.partnerRestMs ?? 0,
    },
    { clock: () => Date.now() + aheadMs },
  );
  atEnd(() => running.close());
  network.target(Number(new URL(running.url).port));
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags });
  const opened: Phone[] = [];
  // What the screens showed last, for whoever looks into a failure.
  atEnd(async () => {
    for (const [index, { page }] of opened.entries()) if (!page.isClosed()) await shot(page, `last-${index}`);
    await browser.close();
  });
  const fresh = async (options: PhoneOptions = {}): Promise<Phone> => {
    const phone = await openPhone(
      browser,
      url,
      options,
      `globalThis.clockAheadMs = ${aheadMs}; ${clockOfTests}`,
    );
    opened.push(phone);
    return phone;
  };
  return {
    url,
    app: running.app,
    network,
    pass: async (ms) => {
      aheadMs += ms;
      const script = `globalThis.clockAheadMs = ${aheadMs}`;
      for (const { page, context } of opened) {
        if (page.isClosed()) continue;
        await page.evaluate(script);
        // And whatever is loaded there from now on.
        await context.addInitScript(script);
      }
    },
    fresh,
    phone: async (name, options) => {
      const phone = await fresh({ at: [5, 0], ...options });
      await phone.page.getByRole('button', { name: new RegExp(`^${name}`) }).click();
      await phone.page.getByTestId('balance').waitFor();
      return phone;
    },
  };
}

async function openPhone(
  browser: Browser,
  url: string,
  options: PhoneOptions,
  script: string,
): Promise<Phone> {
  const place = (metres: number, degrees: number) => ({ ...near(metres, degrees), accuracy: 8 });
  const context = await browser.newContext({
    baseURL: url,
    viewport: options.size ?? phoneSize,
    deviceScaleFactor: 1,
    isMobile: true,
    hasTouch: true,
    colorScheme: options.dark === true ? 'dark' : 'light',
    serviceWorkers: options.serviceWorker === true ? 'allow' : 'block',
    ...(options.at && { geolocation: place(...options.at), permissions: ['geolocation'] }),
  });
  context.setDefaultTimeout(actionMsMax);
  await context.addInitScript(script);
  const page = await context.newPage();
  let at = options.at ?? [0, 0];
  // A violation of the content security policy, or a crash of a page, fails the test that meets it.
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) throw new Error(message.text());
  });
  page.on('pageerror', (error) => {
    throw error;
  });
  await page.goto('/');
  return {
    page,
    context,
    open: async (path) => {
      await page.evaluate(
        `history.pushState(null, '', ${JSON.stringify(path)}); dispatchEvent(new PopStateEvent('popstate'))`,
      );
    },
    move: async (metres, degrees = 0) => {
      at = [metres, degrees];
      await context.setGeolocation(place(metres, degrees));
    },
    measure: () => context.setGeolocation(place(...at)),
  };
}

interface AxeRule {
  readonly id: string;
  readonly nodes: readonly { readonly html: string }[];
}

/** What axe finds on the page as it stands: `rule: element`. */
export async function violations(page: Page): Promise<string[]> {
  // By the debugger, not by a script element: the content security policy has no hole for tests.
  await page.evaluate(axeSource);
  const found = await page.evaluate<{ violations: AxeRule[] }>('axe.run(document)');
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html}`));
}

/** Where PAYMENTS_SCREENSHOTS names a folder: a picture of the page as it stands. */
export async function shot(page: Page, name: string): Promise<void> {
  const folder = process.env.PAYMENTS_SCREENSHOTS;
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
