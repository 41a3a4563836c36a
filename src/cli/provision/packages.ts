/** Debian packages that Pando needs, each with the command (or file) whose presence proves it. */

export interface NeededPackage {
  readonly name: string;
  /** A command on PATH or in sbin, or an absolute path of a file. */
  readonly proof: string;
  readonly why: string;
}

/** Below this, live migration under software emulation corrupts the guest's memory. */
export const qemuMajorMin = 9;

export const qemuPackages: readonly NeededPackage[] = [
  { name: 'qemu-system-x86', proof: 'qemu-system-x86_64', why: 'runs the virtual machines' },
  { name: 'qemu-utils', proof: 'qemu-img', why: 'makes their disks' },
  { name: 'seabios', proof: '/usr/share/seabios/bios-256k.bin', why: 'their firmware' },
];

export const runPackages: readonly NeededPackage[] = [
  { name: 'iproute2', proof: 'ip', why: 'namespaces, links, routes' },
  { name: 'nftables', proof: 'nft', why: 'security groups' },
  { name: 'conntrack', proof: 'conntrack', why: 'forgets connections of addresses that changed hands' },
  { name: 'ethtool', proof: 'ethtool', why: 'link offloads' },
  { name: 'util-linux', proof: 'nsenter', why: 'namespaces and jails' },
  { name: 'procps', proof: 'sysctl', why: 'kernel settings' },
  { name: 'e2fsprogs', proof: 'mke2fs', why: 'file systems of images' },
  { name: 'mmdebstrap', proof: 'mmdebstrap', why: 'builds images' },
  { name: 'busybox-static', proof: 'busybox', why: 'the default image' },
  { name: 'bubblewrap', proof: 'bwrap', why: 'the jail in which disks that are registered are read' },
  { name: 'binutils', proof: 'as', why: 'assembles the guests’ own programs' },
  { name: 'lz4', proof: 'lz4', why: 'unpacks the guests’ kernel' },
  { name: 'openssh-client', proof: 'ssh', why: 'pando ssh, and key pairs' },
  { name: 'iputils-ping', proof: 'ping', why: 'reachability checks' },
  { name: 'ca-certificates', proof: '/etc/ssl/certs/ca-certificates.crt', why: 'downloads of packages' },
];

export const testPackages: readonly NeededPackage[] = [
  { name: 'awscli', proof: 'aws', why: 'a real client of the API' },
  {
    name: 'python3-boto3',
    proof: '/usr/lib/python3/dist-packages/boto3/__init__.py',
    why: 'a real client of the API',
  },
  { name: 'socat', proof: 'socat', why: 'connections of every kind' },
  { name: 'curl', proof: 'curl', why: 'asks the metadata service as a guest would' },
  { name: 'iperf3', proof: 'iperf3', why: 'measures rate limits' },
  { name: 'tcpdump', proof: 'tcpdump', why: 'looks at packets' },
  { name: 'openssl', proof: 'openssl', why: 'certificates and signatures as others check them' },
  { name: 'chromium', proof: 'chromium', why: 'opens the pages of applications' },
];
