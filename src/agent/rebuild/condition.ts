/** How the host is just now: what evidence of earlier rebuilds is compared with. */
import { firmwareDigest, type HostCondition, networkAsConfigured } from '#contracts/rebuild.ts';
import type { AgentContext } from '../context.ts';
import { ourTaps } from '../tap.ts';
import type { Machine } from './machine.ts';
import type { RebuildState } from './record.ts';

export interface ConditionParts {
  readonly context: Pick<AgentContext, 'config' | 'card' | 'bootId' | 'fence'>;
  readonly machine: Machine;
  /** Of the code that this process runs, and a name of this process's own. */
  readonly image: string;
  readonly life: string;
  /** Taps and interfaces of VMs that are here. */
  readonly used: { readonly taps: ReadonlySet<string>; readonly interfaces: ReadonlySet<string> };
}

/** What is not as `networkConfiguration` leaves it, for people. @throws what the link to the card says */
export const networkFaults = async ({ context, used }: ConditionParts): Promise<string[]> => {
  const { config, card, fence } = context;
  const status = await card.call('card.status', {});
  const stray = (await ourTaps(config.runPrefix)).filter((name) => !used.taps.has(name));
  const ports = status.ports.filter(({ eniId }) => !used.interfaces.has(eniId));
  return [
    ...(status.vtep === config.vtep ? [] : [`the card ends tunnels at ${status.vtep}, not ${config.vtep}`]),
    ...(status.netns === config.card.netns
      ? []
      : [`the card is in ${status.netns}, not ${config.card.netns}`]),
    ...((await fence.isInPlace()) ? [] : ['the rules that fence VMMs are not in place']),
    ...stray.map((name) => `tap ${name} is nobody’s`),
    ...ports.map(({ eniId }) => `${eniId} on the card is nobody’s`),
  ];
};

const cardLife = async ({ context: { card } }: ConditionParts): Promise<string> =>
  (await card.call('card.status', {})).startedAt;

export const conditionOf = async (parts: ConditionParts, state: RebuildState): Promise<HostCondition> => {
  const { context, machine, image, life } = parts;
  // Of one that says nothing, nothing is as it was.
  const card = await cardLife(parts).catch(() => 'does not answer');
  const network = await networkFaults(parts).catch((error: unknown) => [String(error)]);
  const firmware = firmwareDigest(await machine.firmware());
  const { layout, dirty } = state;
  return {
    ...{ bootId: context.bootId, lives: `${life}/${card}`, image, firmware, firmwareStaged: firmware },
    layout: layout?.bootId === context.bootId ? layout.digest : '',
    network: network.length === 0 ? networkAsConfigured : 'differs',
    errors: await machine.errors(),
    dirty: [...dirty],
  };
};
