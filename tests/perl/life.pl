# A guest's life through Sys::Virt: URI NAME XML-FILE DISK.
use strict;
use warnings;
use Sys::Virt;
use Sys::Virt::Domain;
use Sys::Virt::Event;
use Time::HiRes qw(time);

my ($uri, $name, $file, $disk) = @ARGV;
open(my $in, '<', $file) or die "$file: $!";
my $xml = do { local $/; <$in> };
Sys::Virt::Event::register_default();
my $conn = Sys::Virt->new(uri => $uri);
my @heard;
$conn->domain_event_register_any(undef, Sys::Virt::Domain::EVENT_ID_LIFECYCLE,
    sub { my ($c, $dom, $event, $detail) = @_; push @heard, "$event/$detail" if $dom->get_name eq $name; });
$conn->domain_event_register_any(undef, Sys::Virt::Domain::EVENT_ID_DEVICE_ADDED,
    sub { my ($c, $dom, $alias) = @_; push @heard, "added $alias"; });

sub wait_for {
    my ($what, $probe) = @_;
    my $deadline = time + 60;
    # The loop sleeps until something happens: something does, twice a second.
    my $timer = Sys::Virt::Event::add_timeout(500, sub { });
    until ($probe->()) {
        die "waited in vain for $what; heard @heard" if time > $deadline;
        Sys::Virt::Event::run_default();
    }
    Sys::Virt::Event::remove_timeout($timer);
}

sub state_is { my ($dom, $state) = @_; my ($now) = $dom->get_state; die "state $now, not $state" if $now != $state; }

# Transient, then persistent.
my $dom = $conn->create_domain($xml);
die "transient" if $dom->is_persistent;
$dom->destroy;
$dom = $conn->define_domain($xml);
$dom->create;
state_is($dom, Sys::Virt::Domain::STATE_RUNNING);
$dom->suspend;
state_is($dom, Sys::Virt::Domain::STATE_PAUSED);
$dom->resume;

# A disk comes and is seen in the XML, in events and in statistics.
$dom->attach_device("<disk type='file'><driver name='qemu' type='raw'/><source file='$disk'/>"
    . "<target dev='vdb' bus='virtio'/></disk>", Sys::Virt::Domain::DEVICE_MODIFY_LIVE);
die "no vdb" unless $dom->get_xml_description =~ /<target dev='vdb' bus='virtio'\/>/;
my $info = $dom->get_block_info('vdb');
die "capacity $info->{capacity}" unless $info->{capacity} == -s $disk;
wait_for('the disk to be announced', sub { grep { /^added virtio-disk/ } @heard });

my ($stats) = $conn->get_all_domain_stats(
    Sys::Virt::Domain::STATS_STATE | Sys::Virt::Domain::STATS_BALLOON | Sys::Virt::Domain::STATS_BLOCK | Sys::Virt::Domain::STATS_VCPU,
    [$dom]);
my $data = $stats->{data};
die "state in stats" unless $data->{'state.state'} == Sys::Virt::Domain::STATE_RUNNING;
die "blocks: $data->{'block.count'}" unless $data->{'block.count'} == 2;
die "vcpus" unless $data->{'vcpu.current'} == 1;
die "memory" unless $dom->get_info->{maxMem} == 32 * 1024;
my ($cpu) = $dom->get_cpu_stats(-1, 1);
die "cpu" unless $cpu->{cpu_time} > 0;

# Saved and taken up again.
my $image = "$disk.save";
$dom->save($image);
die "still active" if $dom->is_active;
$conn->restore_domain($image);
state_is($dom, Sys::Virt::Domain::STATE_RUNNING);
unlink $image;
$dom->destroy;
wait_for('the end', sub { (grep { $_ eq join('/', Sys::Virt::Domain::EVENT_STOPPED, Sys::Virt::Domain::EVENT_STOPPED_DESTROYED) } @heard) >= 2 });
$dom->undefine;

# What fails says so, with libvirt's code.
eval { $conn->get_domain_by_name($name) };
die "found: $@" unless ref $@ && $@->code == Sys::Virt::Error::ERR_NO_DOMAIN;
print "passed\n";
