/** Where `ip netns` keeps the names of namespaces. */
export const namespacesDirectory = '/run/netns';
export const namespacePath = (name: string): string => `${namespacesDirectory}/${name}`;
