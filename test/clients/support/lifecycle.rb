# A VM's life through fog: launch, describe, tag, stop, start, terminate.
require 'fog/aws'

endpoint = ENV.fetch('ENDPOINT')
compute = Fog::Compute.new(
  provider: 'AWS', endpoint: endpoint, region: ENV.fetch('AWS_REGION'),
  aws_access_key_id: ENV.fetch('AWS_ACCESS_KEY_ID'), aws_secret_access_key: ENV.fetch('AWS_SECRET_ACCESS_KEY')
)
Fog.interval = 1
expect = ->(what, is) { is ? puts(what) : abort("#{what}: is not so") }

server = compute.servers.create(image_id: ENV.fetch('IMAGE'), flavor_id: 't3.micro', tags: { 'Name' => 'fog <&>' })
server.wait_for(120) { ready? }
expect.('launched', server.state == 'running')
found = compute.servers.get(server.id)
expect.('described with its tag', found.tags['Name'] == 'fog <&>' && found.private_ip_address == server.private_ip_address)
compute.tags.create(resource_id: server.id, key: 'Role', value: 'guest')
expect.('tagged', compute.servers.all('tag:Role' => 'guest').map(&:id) == [server.id])
server.stop
server.wait_for(120) { state == 'stopped' }
expect.('stopped', server.state == 'stopped')
server.start
server.wait_for(120) { state == 'running' }
expect.('started', server.state == 'running')
server.destroy
server.wait_for(120) { state == 'terminated' }
expect.('terminated', server.state == 'terminated')
expect.('groups', compute.security_groups.all.map(&:name).include?('default'))
expect.('images', compute.images.all('image-id' => ENV.fetch('IMAGE')).length == 1)
expect.('an unknown VM is nil', compute.servers.get('i-0ffffffffffffffff').nil?)
