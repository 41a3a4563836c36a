/** Named limits of a process's connections to its store. */
export const poolMaxDefault = 10;
/** Addresses in one URL. */
export const addressesMax = 16;
/** The server ends a statement itself after this long, so one that is only slow is answered before `queryTimeoutMs`. */
export const statementTimeoutMs = 6_000;
/** Silence beyond the server's own timeout: the server, or the way to it, is gone. */
export const queryTimeoutMs = 8_000;
/** Schema steps may rewrite tables. */
export const schemaStepTimeoutMs = 600_000;
/** A schema step that does not get its table's lock within this time lets the traffic behind it pass, and tries again. */
export const schemaLockTimeoutMs = 2_000;
export const schemaLockAttemptsMax = 30;
/** How often a step is tried whose connection is ended under it. */
export const schemaAwayAttemptsMax = 5;
export const idleInTransactionTimeoutMs = 10_000;
export const connectTimeoutMs = 3_000;
/** How long a caller waits for a connection. */
export const acquireTimeoutMs = 5_000;
/** The same, once the store is known to be away: clients are told soon. */
export const acquireTimeoutDownMs = 1_000;
/** Failed rounds over all addresses after which the store counts as away. */
export const downAfterFailures = 3;
/** Callers that may wait for a connection at once; beyond them, callers are refused at once. */
export const waitersMax = 10_000;
/** Connections that are being made at once: after an outage, a server is not met by all of them together. */
export const openingMax = 2;
export const reconnectMsMin = 50;
export const reconnectMsMax = 2_000;
export const idleConnectionMs = 60_000;
/** A connection that was idle for longer is asked whether its server still takes writes. */
export const checkAfterIdleMs = 1_000;
export const checkTimeoutMs = 2_000;
export const keepAliveAfterMs = 10_000;
/** How long a connection may take to say good-bye. */
export const closeTimeoutMs = 1_000;
/** Distinct statement texts that are kept prepared on each connection; beyond them, texts are sent whole. */
export const preparedTextsMax = 500;
