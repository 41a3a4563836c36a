/** EC2's error for ids of a kind that the account does not have. */
export { notFound } from '#contracts/ids.ts';
