/** How much this process's streams carry at the moment, for its metrics. */
export const rpcLoad = {
  streams: 0,
  /** Calls that peers have made here and that are not answered yet. */
  serving: 0,
  /** Calls that this process has made and that are not answered yet. */
  awaiting: 0,
};
