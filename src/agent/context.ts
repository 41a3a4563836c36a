/** What the operations on a VM stand on. */
import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import type { VmRequirement } from '#contracts/host.ts';
import type { Accelerator } from './accelerator.ts';
import type { CardLink } from './card-link.ts';
import type { Cgroups } from './cgroup/cgroups.ts';
import type { AgentConfig } from './config.ts';
import type { ImageCache } from './image-cache.ts';
import type { VmStore } from './vm-store.ts';
import type { VmmFence } from './vmm-fence.ts';

export interface AgentContext {
  readonly config: AgentConfig;
  /** This agent's own identity. Its key is never given to a VMM. */
  readonly tls: TlsMaterial;
  readonly log: Logger;
  readonly store: VmStore;
  readonly card: Pick<CardLink, 'call' | 'relay' | 'rebuild' | 'status'>;
  readonly images: ImageCache;
  readonly cgroups: Cgroups;
  /** What VMMs may reach on the network. */
  readonly fence: VmmFence;
  readonly accelerator: Accelerator;
  /** Names this boot of the machine (`/proc/sys/kernel/random/boot_id`). */
  readonly bootId: string;
  /** True once this agent is closing: watchers stop, VMs run on. */
  readonly closed: boolean;
  /** Something that a report shows has changed. */
  changed(): void;
  /** Claims memory for this VM (its requirement, state `preparing`); throws `InsufficientInstanceCapacity` unless it fits; see admission.ts. */
  admit(instanceId: string, wanted: VmRequirement): Promise<void>;
}
