"""A VM's life through libcloud: launch, describe, tag, stop, start, terminate."""

import os
import sys
import time
from urllib.parse import urlsplit

from libcloud.compute.base import NodeSize
from libcloud.compute.drivers.ec2 import BaseEC2NodeDriver

PATIENCE_S = 120


class Driver(BaseEC2NodeDriver):
    """libcloud's driver of EC2; its AWS-only subclass takes names of AWS's own regions alone."""

    name = "a region"
    region_name = os.environ["AWS_REGION"]
    country = "-"
    signature_version = "4"

    def __init__(self, **arguments):
        super().__init__(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], **arguments)


def expect(what, holds):
    if not holds:
        sys.exit(f"{what}: is not so")
    print(what)


endpoint = urlsplit(os.environ["ENDPOINT"])
driver = Driver(host=endpoint.hostname, port=endpoint.port, secure=endpoint.scheme == "https")


def reaches(node, state):
    # Its own states lack "stopped".
    end = time.monotonic() + PATIENCE_S
    while True:
        found = driver.list_nodes(ex_node_ids=[node.id])
        if found and found[0].extra["status"] == state:
            return found[0]
        if time.monotonic() > end:
            sys.exit(f"{node.id} is not {state}: {found}")
        time.sleep(1)


image = driver.get_image(os.environ["IMAGE"])
expect("image", image.id == os.environ["IMAGE"])
# libcloud has the sizes of regions in a table of its own, in which only those of AWS stand.
size = NodeSize("t3.micro", "t3.micro", 1024, 0, None, 0, driver)
node = driver.create_node(name="libcloud <&>", image=image, size=size)
node = reaches(node, "running")
expect("launched with its name", node.name == "libcloud <&>")
expect("tagged", driver.ex_create_tags(node, {"Role": "guest"}))
expect("described with its tags", driver.ex_describe_tags(node)["Role"] == "guest")
expect("stop", driver.ex_stop_node(node))
reaches(node, "stopped")
expect("start", driver.ex_start_node(node))
reaches(node, "running")
expect("reboot", driver.reboot_node(node))
expect("terminate", driver.destroy_node(node))
reaches(node, "terminated")
expect("zones", [zone.name for zone in driver.list_locations()] != [])
expect("subnets", driver.ex_list_subnets() != [] and driver.ex_list_networks() != [])
expect("groups", "default" in driver.ex_list_security_groups())
try:
    driver.list_nodes(ex_node_ids=["i-0ffffffffffffffff"])
    sys.exit("an unknown VM is told: is not so")
except Exception as error:
    expect("an unknown VM is told by its code", "InvalidInstanceID.NotFound" in str(error))
