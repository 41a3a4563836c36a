/**
 * The clock for everything that measures: silences, budgets, deadlines, back-off, ages of caches, rates. The wall clock is
 * stepped by NTP and by people, so it is for what people read and for what others signed (the list is in
 * `test/architecture.test.ts`).
 */

/** Milliseconds of the machine's monotonic clock (CLOCK_MONOTONIC), with fractions. Comparable between processes of one boot. */
export const monotonicMs = (): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
};
