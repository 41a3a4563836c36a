/** The flag of open(2) for a descriptor that only names a file. Of Linux, and missing in Node's constants. */
export const openPath = 0o10000000;
