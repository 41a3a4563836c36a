/** When a VM's web server gives its first reply, to within the interval of the attempts. */
const attemptEveryMs = 20;
const attemptTimeoutMs = 2_000;

/** Resolves at the first reply from `address`: each attempt is a connection of its own and does not wait for the one before. */
export async function firstReply(address: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const stop = new AbortController();
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setInterval(() => {
        if (performance.now() > deadline) reject(new Error(`no reply from ${address} in ${timeoutMs} ms`));
        fetch(`http://${address}/`, {
          headers: { connection: 'close' },
          signal: AbortSignal.any([stop.signal, AbortSignal.timeout(attemptTimeoutMs)]),
        }).then(
          (response) => response.ok && resolve(),
          () => undefined,
        );
      }, attemptEveryMs);
      stop.signal.addEventListener('abort', () => clearInterval(timer));
    });
  } finally {
    stop.abort();
  }
}
