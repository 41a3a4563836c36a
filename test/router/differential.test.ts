/** In short; `differential.soak.test.ts` is the long one. */
import { differential } from './differential/suite.ts';

differential({ timeMs: 2_000, runs: 20, requests: 3 });
