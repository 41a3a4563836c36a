/** Every limit of the network that a client can meet. Units stand last in the names. */

/** One payment, ask or part of a split, in minor units. Large sums do not belong to phones that meet. */
export const amountMinorMax = 100_000_000n;
/** What one ledger account may hold, in minor units: far below bigint's end, so that no sum overflows. */
export const balanceMinorMax = 1_000_000_000_000_000n;

export const bodyBytesMax = 32 * 1024;
export const idempotencyKeyCharsMax = 255;
/** How long a first answer is replayed. */
export const idempotencyKeyHoursMin = 48;
export const noteCharsMax = 140;
export const nameCharsMax = 60;
export const pageItemsMax = 100;

/** A signed message is taken within this distance of the server's clock. */
export const clockSkewSMax = 60;
/** Older messages are refused; nonces are kept for longer than this. */
export const messageAgeSMax = 600;
export const fixesPerReportMax = 4;
/** A fix may have been measured this long before its report was signed. */
export const fixAgeSMax = 300;
export const accuracyMMax = 50_000;

export const contactsMax = 500;
export const partnersMax = 100;
export const areasMax = 10;
export const areaRadiusMMax = 200_000;
export const devicesMax = 5;
export const openAsksMax = 50;
export const splitPartsMax = 30;

export const thresholdMMin = 5;
export const thresholdMMax = 1_000;

export const stepUpSMax = 120;
export const askMinutesMax = 24 * 60;
export const splitHoursMax = 7 * 24;
/** A payment may be split for this long. */
export const splitOfferHoursMax = 24;

/** Requests a second of one account, and how many may come at once. */
export const accountRequestsPerSMax = 10;
export const accountRequestsBurstMax = 40;
