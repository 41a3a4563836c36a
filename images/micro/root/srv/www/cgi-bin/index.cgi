#!/bin/sh
# The page at /: shell builtins only, so that a reply costs one process.
read -r id </run/pando/instance-id
read -r ip </run/pando/ip
read -r name </proc/sys/kernel/hostname
read -r up _ </proc/uptime
printf 'Content-Type: text/plain\r\nCache-Control: no-store\r\n\r\n'
printf 'instance-id: %s\nhostname: %s\nprivate-ip: %s\nuptime: %s\n' "$id" "$name" "$ip" "$up"
