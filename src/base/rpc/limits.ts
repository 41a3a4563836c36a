/** Limits of an RPC stream. */
export const frameBytesMax = 16 * 1024 * 1024;
/** Of an error's message and each of its details: an error always fits a frame. */
export const errorTextCharsMax = 4_096;
export const errorDetailsMax = 32;
export const inFlightCallsMax = 1024;
export const callTimeoutMsDefault = 30_000;
export const handshakeTimeoutMs = 5_000;
export const keepAliveEveryMs = 2_000;
/** A peer that has said nothing for this long is taken for dead. */
export const silenceMsMax = 8_000;
export const reconnectMsMin = 50;
export const reconnectMsMax = 1_000;
/** Bytes waiting in the socket above which new calls fail at once (back-pressure). */
export const unsentBytesMax = 32 * 1024 * 1024;

/** Between two questions whether a peer answers on an open stream, where it refused the first. */
export const probePauseMs = 50;
