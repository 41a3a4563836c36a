/** The catalogue of types and custom sizes, which routers read too (S3.1). */
export * from '#contracts/instanceTypes.ts';
