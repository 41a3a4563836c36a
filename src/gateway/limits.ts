/** Fixed numbers of a gateway. */

/** Device of a VPC's namespace towards the gateway's main namespace; the addresses of both ends, the same in every VPC. */
export const cableDevice = 'up0';
export const cableInside = '169.254.1.2';
export const cableOutside = '169.254.1.1';
/** Marks the routes of the main namespace that are ours. */
export const routeProtocol = 186;
/** MTU of the cable: that of an ordinary network; the overlay's smaller one is answered by path MTU discovery. */
export const cableMtu = 1500;
