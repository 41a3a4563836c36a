/** Debian's own clients of the metadata service, out of their packages: nothing is installed. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';

/** cloud-init, the library that it does not bring, and two tools that print metadata. */
const packages = ['cloud-init', 'python3-configobj', 'amazon-ec2-utils', 'cloud-guest-utils'];

export interface StockTools {
  /** Prints what cloud-init's Ec2 data source read, as JSON. Its standard input says where it may write. */
  readonly cloudInit: string;
  readonly ec2Metadata: string;
  readonly ec2metadata: string;
}

/** What DMI would tell it is told to it: that the platform is EC2's, as an instance's firmware does. */
const crawl = `
import json, logging, sys
logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
from cloudinit import helpers
from cloudinit.sources import DataSourceEc2 as ec2
ec2.identify_platform = lambda: ec2.CloudNames.AWS
cfg = {"datasource": {"Ec2": {"metadata_urls": ["http://169.254.169.254"], "max_wait": 20, "timeout": 5}}}
directory = sys.argv[1]
source = ec2.DataSourceEc2(cfg, None, helpers.Paths({"cloud_dir": directory, "run_dir": directory}))
got = source._get_data()
plain = lambda value: value.decode() if isinstance(value, bytes) else str(value)
print(json.dumps({"got": got, "crawled": source._crawled_metadata, "userData": plain(source.userdata_raw),
  "instanceId": source.get_instance_id(), "zone": source.availability_zone, "region": source.region,
  "keys": source.get_public_ssh_keys(), "classic": source.is_classic_instance()}, default=plain))
`;

/** Absent, with the reason, where this machine has no way to them. */
export const stockTools = async (directory: string): Promise<StockTools | string> => {
  const root = join(directory, 'stock');
  await mkdir(root, { recursive: true });
  const script = `set -e; cd ${root}
apt-get -q -o APT::Sandbox::User=root download ${packages.join(' ')} >&2
for file in *.deb; do dpkg-deb -x "$file" .; done
PYTHONPATH=${root}/usr/lib/python3/dist-packages python3 -c 'import cloudinit.sources.DataSourceEc2' >&2`;
  try {
    await exec('sh', ['-s'], { input: script, timeoutMs: 60_000 });
  } catch (error) {
    return `Debian's packages ${packages.join(', ')} cannot be had or used here: ${String(error).slice(0, 300)}`;
  }
  const python = `PYTHONPATH=${root}/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1 python3`;
  return {
    cloudInit: `${python} - ${root} <<'CRAWL'\n${crawl}\nCRAWL\n`,
    ec2Metadata: `bash ${root}/usr/bin/ec2-metadata`,
    ec2metadata: `python3 ${root}/usr/bin/ec2metadata`,
  };
};
