/** As `differential.test.ts`, for minutes. */
import { differential } from './differential/suite.ts';

differential({ timeMs: 60_000, runs: 2_000, requests: 60 });
