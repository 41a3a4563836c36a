/** A device of tests about tenants' changes. */
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import type { Device } from '#region/push.ts';

/** A device that every VPC concerns. */
export class Card implements Device {
  readonly name = 'card';
  has: VpcState | undefined;
  away = false;
  wants = (): boolean => true;
  async apply(state: VpcState): Promise<readonly string[]> {
    if (this.away) throw new PandoError('HostUnreachable', 'It is away.');
    this.has = state;
    return [];
  }
  async remove(): Promise<void> {
    this.has = undefined;
  }
}
