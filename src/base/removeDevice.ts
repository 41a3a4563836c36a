/**
 * Part of a script of `sh -e` that removes a network device of its namespace; absent: nothing. The kernel takes one end of a pair away by
 * itself some time after the namespace of the other end has ended, also between the look and the removal.
 */
export const removeDevice = (name: string): string => {
  const path = `/proc/sys/net/ipv4/conf/${name}`;
  return `if [ -e ${path} ]; then ip link delete dev ${name} || [ ! -e ${path} ]; fi\n`;
};
