/** `pando profile`: what instances of an account may do to it. */
import { profilePolicy } from '#contracts/profiles.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';
import { withRegion } from '../regionOperator.ts';

interface Directory {
  readonly dir: string;
}

export async function createProfile(
  name: string,
  options: Directory & { readonly account: string; readonly policy: string },
): Promise<void> {
  const policy = profilePolicy.safeParse(options.policy);
  if (!policy.success)
    throw new UserError(
      `There is no policy ${options.policy}. There are: ${profilePolicy.options.join(' ')}`,
    );
  await withRegion(openRegion(options), async (region) => {
    const made = await region.call('operator.createProfile', {
      ...{ accountId: options.account, name, policy: policy.data },
    });
    print(`${made.arn} (${made.profileId})\nInstances run with it: --iam-instance-profile Name=${made.name}`);
  });
}

export async function listProfiles(options: Directory & { readonly account?: string }): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    const { profiles } = await region.call('operator.profiles', { accountId: options.account });
    print(
      table([
        ['account', 'profile', 'policy', 'id'],
        ...profiles.map((each) => [each.accountId, each.name, each.policy, each.profileId]),
      ]),
    );
  });
}

export async function deleteProfile(
  name: string,
  options: Directory & { readonly account: string },
): Promise<void> {
  await withRegion(openRegion(options), async (region) => {
    await region.call('operator.deleteProfile', { accountId: options.account, name });
    print(`${name} is deleted: within a minute the credentials of instances that run with it are refused.`);
  });
}
