/** Turns the host off and on: from outside where that can be done, else its processes begin anew. Once a pass, however often it is asked. */
import { PandoError } from '#contracts/errors.ts';
import type { Clock } from '../../clock.ts';
import type { HostSessions } from '../../hosts/sessions.ts';
import { powerCycleLookAgainMs, powerCycleMsMax } from '../../limits.ts';
import type { PowerControl } from '../../reconfiguration/power.ts';
import { TakenBack } from '../../workflow/attempt.ts';
import { sleepFor, type Wait } from '../../workflow/wait.ts';
import type { StepResult } from './rebuild-results.ts';

/** What the step's context has of this. */
interface Cycled {
  readonly services: {
    readonly hosts: Pick<HostSessions, 'call'>;
    readonly clock: Pick<Clock, 'monotonicMs'>;
  };
  readonly input: {
    readonly hostId: string;
    /** The boot before. */
    readonly bootId: string;
  };
  readonly signal: AbortSignal;
  readonly waitedMs: number;
}

export const cycledFromOutside = async (
  { services, input, signal, waitedMs }: Cycled,
  power: Pick<PowerControl, 'cycle'>,
): Promise<StepResult | Wait> => {
  const began = services.clock.monotonicMs();
  const { hostId, bootId } = input;
  const isOver = waitedMs > powerCycleMsMax;
  const condition = await services.hosts.call(hostId, 'rebuild.condition', {}).catch((error: unknown) => {
    // It is down, or on its way up: it was cycled, by this try or one before it. One that stays dark is not waited for longer than that.
    if ((waitedMs > 0 && !isOver) || PandoError.from(error).code !== 'HostUnreachable') throw error;
    return undefined;
  });
  if (condition !== undefined && condition.bootId !== bootId) {
    const ms = waitedMs + services.clock.monotonicMs() - began;
    return {
      ...{ skipped: false, ok: true, changed: false, condition, ms },
      detail: 'the machine has booted',
    };
  }
  if (waitedMs === 0)
    await power.cycle(hostId, signal).catch((error: unknown) => {
      const failure = PandoError.from(error);
      if (failure.class === 'unreachable' || failure.class === 'busy') throw error;
      throw new TakenBack(`powerCycle: ${failure.message}`);
    });
  if (isOver)
    throw new TakenBack(`powerCycle: ${hostId} has not booted in ${powerCycleMsMax / 60_000} minutes`);
  return sleepFor(powerCycleLookAgainMs);
};
