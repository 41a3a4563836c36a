/** The browser that tests drive, and axe's source: both are packages of these pages, not of the cloud. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

export const axeSource = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
