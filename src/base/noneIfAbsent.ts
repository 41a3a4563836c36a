/**
 * For the `catch` of a read: only a file that does not exist is taken for none. One that cannot be read just now is there, and what it says
 * must not be written over.
 */
export const noneIfAbsent =
  <T>(none: T) =>
  (error: unknown): T => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return none;
    throw error;
  };
