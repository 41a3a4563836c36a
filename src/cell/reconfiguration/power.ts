/** What is known of machines from outside of them: what they shall run, and how they are turned off and on. */

export interface HostManifest {
  /** Versions by component (`bios`, `bmc`, `nic`); a component that a host does not name is not of it. */
  readonly firmware?: Readonly<Record<string, string>> | undefined;
  /** Digest of the agent's code (`codeDigest`). */
  readonly image?: string | undefined;
}

export interface PowerControl {
  /** Whether the machine can be reached from outside. */
  has(hostId: string): boolean;
  /** Begins to turn it off and on again; resolves when it is under way. @throws HostUnreachable, InternalError */
  cycle(hostId: string, signal?: AbortSignal): Promise<void>;
}
