/**
 * A command with the capabilities that its process has in a region, for tests that start agents and cards by themselves.
 * `PANDO_TEST_WITHOUT=net_raw` leaves one out: so the lists in src/node/capabilities.ts were found, and can be looked at again.
 */
import { type Capability, namesOf } from '#node/capabilities.ts';
import { confined } from '#node/confine.ts';

export const withCapabilities = (
  kept: Partial<Record<Capability, string>>,
  command: readonly string[],
): string[] => {
  const capabilities = namesOf(kept).filter((name) => name !== process.env.PANDO_TEST_WITHOUT);
  return confined({ capabilities }, command);
};
