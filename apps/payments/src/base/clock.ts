/** Milliseconds since 1970. Injected wherever a rule depends on time. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();
