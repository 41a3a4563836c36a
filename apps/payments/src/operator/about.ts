/** What anybody may know of this network. */
import type { App } from '../app.ts';
import type { About } from '../contract/people.ts';
import { Currency } from '../contract/primitives.ts';
import { topUpMax } from '../demo/top-up.ts';
import { preciseKeptMs } from '../location/fixes.ts';
import { coarseKeptDays, coLocationKeptDays } from '../location/retention.ts';

export const aboutOf = (app: App): About => ({
  mode: app.mode,
  currencies: [...Currency.options],
  serverTime: app.clock(),
  retention: {
    precisePositionMinutes: preciseKeptMs / 60_000,
    coarseCellDays: coarseKeptDays,
    coLocationDays: coLocationKeptDays,
  },
  ...(app.mode === 'demo' && { topUpMax }),
});
