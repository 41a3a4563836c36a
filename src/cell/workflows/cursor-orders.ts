/**
 * The steps of each kind as the first release had them, frozen. It stored a row's place as an index into these lists; such rows are
 * read by them, and rows of version 1 are written so that a processor of that release finds its place too. Never edited.
 */
export const cursorOrders: Readonly<Record<string, readonly string[]>> = {
  launch: ['allocateInterface', 'ensureImage', 'prepareNetwork', 'placeInterface', 'launchVm', 'commission'],
  start: ['findInterface', 'ensureImage', 'prepareNetwork', 'placeInterface', 'launchVm'],
  stop: ['stopVm', 'detachNetwork', 'unplaceInterface'],
  reboot: ['rebootVm'],
  terminate: ['destroyVm', 'releaseInterface'],
  migrate: [
    'findInterface',
    'ensureImage',
    'prepareNetwork',
    'launchIncoming',
    'startCopy',
    'converge',
    'lock',
    'critical',
    'placeInterface',
    'clearSource',
  ],
};
