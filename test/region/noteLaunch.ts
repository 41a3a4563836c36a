import { assertTakesLaunches } from '#region/account-cells.ts';
import { readLaunchFacts } from '#region/launch-facts.ts';

/** As a launch of the account in that cell does, before anything else is looked at. */
export const noteLaunch = async (
  db: Parameters<typeof readLaunchFacts>[0],
  accountId: string,
  cellId: string,
): Promise<void> => {
  const none = { imageId: 'ami-0', groupIds: [], groupNames: [] };
  assertTakesLaunches((await readLaunchFacts(db, { accountId, cellId, ...none })).open);
};
