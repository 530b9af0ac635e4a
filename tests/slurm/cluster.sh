#!/usr/bin/env bash
# A real Slurm of one node on the loopback device, for the tests: start it, again or anew, or stop it.
#
#   tests/slurm/cluster.sh install | start | status | stop | restart-controller
#
# Needs root and Debian's packages; no systemd. GPUs (model `toy`) are device nodes that do nothing: Slurm counts and
# allocates them like real ones. CPUs and memory are advertised, not there. Accounting (slurmdbd) runs too, as on real clusters.
set -euo pipefail

STATE=/var/lib/otcal-test-slurm
MARK="# written by tests/slurm/cluster.sh of otcal"
CPUS=32
GPUS=4
MEGABYTES=200000
HOST=$(hostname -s)

die() {
  echo "cluster.sh: $*" >&2
  exit 1
}

# alive PIDFILE NAME: is the process of that file running, and the one that wrote it?
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

# await SECONDS COMMAND...: until the command succeeds
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "in vain waited for: $*"
    sleep 0.1
  done
}

# terminate PIDFILE NAME: TERM, and KILL after 15 s
terminate() {
  alive "$1" "$2" || return 0
  local pid
  pid=$(cat "$1")
  kill -TERM "$pid"
  for _ in $(seq 150); do
    alive "$1" "$2" || break
    sleep 0.1
  done
  if alive "$1" "$2"; then kill -KILL "$pid"; fi
  rm -f "$1"
}

install_packages() {
  local missing=()
  for pair in munge:munged slurmctld:slurmctld slurmd:slurmd slurm-client:sbatch slurmdbd:slurmdbd \
    mariadb-server-core:mariadbd mariadb-client-core:mariadb; do
    command -v "${pair#*:}" >/dev/null || missing+=("${pair%%:*}")
  done
  [ ${#missing[@]} = 0 ] && return
  [[ " ${missing[*]} " != *" slurmdbd "* ]] || missing+=(slurm-wlm-mysql-plugin)
  # A policy that keeps the packages' scripts from starting daemons.
  local policy=/usr/sbin/policy-rc.d made=0
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    made=1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  [ $made = 0 ] || rm -f $policy
}

# limits: how Slurm follows and limits the processes of a job: by cgroups where they can be written, else by looking.
limits() {
  if [ -w /sys/fs/cgroup/freezer/cgroup.procs ] && [ -w /sys/fs/cgroup/memory/cgroup.procs ] &&
    [ -w /sys/fs/cgroup/cpuset/cgroup.procs ]; then
    printf 'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\nJobAcctGatherType=jobacct_gather/cgroup\n'
  else
    printf 'ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/linux\n'
    printf 'JobAcctGatherParams=OverMemoryKill\n'
  fi
}

# configure NAME: write /etc/slurm/NAME from standard input, unless another's file is there
configure() {
  local file=/etc/slurm/$1
  [ ! -e "$file" ] || grep -qF "$MARK" "$file" || die "$file belongs to another cluster"
  { echo "$MARK"; cat; } >"$file"
}

write_configuration() {
  install -d -m 755 /etc/slurm "$STATE" "$STATE/state" "$STATE/spool" "$STATE/log" "$STATE/run"
  grep -qE "^127\.[0-9.]+[[:space:]].*\b$HOST\b" /etc/hosts || echo "127.0.0.1 $HOST" >>/etc/hosts
  for i in $(seq 0 $((GPUS - 1))); do
    [ -e "$STATE/gpu$i" ] || mknod "$STATE/gpu$i" c 1 3 # that of /dev/null
  done
  configure slurm.conf <<CONF
ClusterName=otcal
SlurmctldHost=$HOST(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$STATE/state
SlurmdSpoolDir=$STATE/spool
SlurmctldPidFile=$STATE/run/slurmctld.pid
SlurmdPidFile=$STATE/run/slurmd.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/slurmd.log
MpiDefault=none
MailProg=/bin/true
SwitchType=switch/none
# Commands wait so long for a controller that restarts.
MessageTimeout=60
$(limits)
JobAcctGatherFrequency=task=1
PropagateResourceLimits=NONE
PropagatePrioProcess=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
OverTimeLimit=0
MinJobAge=3600
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# What can never run is refused, instead of waiting for ever.
EnforcePartLimits=ALL
DefMemPerCPU=1000
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu,gres/gpu:toy
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$MEGABYTES Gres=gpu:toy:$GPUS State=UNKNOWN
PartitionName=cpu Nodes=$HOST Default=YES MaxTime=7-00:00:00 State=UP
PartitionName=gpu Nodes=$HOST Default=NO MaxTime=7-00:00:00 State=UP
CONF
  configure gres.conf <<CONF
AutoDetect=off
NodeName=$HOST Name=gpu Type=toy File=$STATE/gpu[0-$((GPUS - 1))]
CONF
  configure cgroup.conf <<CONF
CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainCores=no
ConstrainDevices=no
CONF
  configure slurmdbd.conf <<CONF
AuthType=auth/munge
DbdHost=$HOST
DbdAddr=127.0.0.1
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile=$STATE/run/slurmdbd.pid
LogFile=$STATE/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
  chmod 600 /etc/slurm/slurmdbd.conf
}

start_munge() {
  if [ ! -s /etc/munge/munge.key ]; then
    install -d -o munge -g munge -m 700 /etc/munge
    mungekey --create --keyfile=/etc/munge/munge.key
    chown munge:munge /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
  fi
  install -d -o munge -g munge -m 755 /run/munge
  alive /run/munge/munged.pid munged || setpriv --reuid=munge --regid=munge --clear-groups munged
  await 20 sh -c 'munge -n | unmunge'
}

# The database listens on a socket of its own only.
start_database() {
  local data=$STATE/mysql
  local client=(mariadb --no-defaults --socket="$data/mysql.sock")
  getent passwd mysql >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin mysql
  if [ ! -d "$data/mysql" ]; then
    install -d -o mysql -g mysql -m 700 "$data"
    mariadb-install-db --no-defaults --user=mysql --datadir="$data" \
      --auth-root-authentication-method=socket --skip-test-db >"$STATE/log/database.log" 2>&1
  fi
  if ! alive "$STATE/run/mariadbd.pid" mariadbd; then
    setsid mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$data/mysql.sock" \
      --skip-networking --pid-file="$data/mariadbd.pid" --innodb-buffer-pool-size=64M \
      --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
      --log-error="$STATE/log/database.log" >/dev/null 2>&1 </dev/null &
    echo $! >"$STATE/run/mariadbd.pid"
  fi
  await 60 "${client[@]}" -e "SELECT 1"
  "${client[@]}" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
    CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED BY 'slurm';
    GRANT ALL ON slurm_acct_db.* TO slurm@localhost;"
  alive "$STATE/run/slurmdbd.pid" slurmdbd || MYSQL_UNIX_PORT="$data/mysql.sock" slurmdbd
  await 60 sacctmgr -n list cluster
  sacctmgr -n -P list cluster format=cluster | grep -qx otcal || sacctmgr -i add cluster otcal >/dev/null
  # The account that the profile names, and its only user.
  sacctmgr -n -P list user format=user,defaultaccount | grep -qx 'root|otcal' || {
    sacctmgr -i add account otcal >/dev/null
    sacctmgr -i add user root account=otcal defaultaccount=otcal >/dev/null
  }
}

start_controller() {
  if alive "$STATE/run/slurmctld.pid" slurmctld; then
    scontrol reconfigure
  else
    slurmctld
  fi
  await 30 sh -c 'scontrol ping | grep -q "is UP"'
}

start_node() {
  alive "$STATE/run/slurmd.pid" slurmd || slurmd
  case $(sinfo -h -n "$HOST" -o %T | head -1) in
  *down* | *drain* | *\**) scontrol update "nodename=$HOST" state=resume || true ;;
  esac
  await 30 sh -c 'sinfo -h -o %T | grep -qE "^(idle|mixed|allocated)$"'
}

stop_all() {
  if alive "$STATE/run/slurmctld.pid" slurmctld; then
    # Steps outlive slurmd, so jobs go first.
    timeout 20 scancel --partition=cpu || true
    timeout 20 scancel --partition=gpu || true
    for _ in $(seq 50); do
      [ -n "$(timeout 20 squeue -h -t RUNNING,COMPLETING,SUSPENDED)" ] || break
      sleep 0.2
    done
  fi
  for daemon in slurmd slurmctld slurmdbd mariadbd; do
    terminate "$STATE/run/$daemon.pid" "$daemon"
  done
  terminate /run/munge/munged.pid munged
  for name in slurm.conf gres.conf cgroup.conf slurmdbd.conf; do
    if grep -qsF "$MARK" "/etc/slurm/$name"; then rm "/etc/slurm/$name"; fi
  done
  rm -rf "$STATE"
  find "/sys/fs/cgroup/"*"/slurm_$HOST" -depth -type d -exec rmdir {} + 2>/dev/null || true
}

[ "$(id -u)" = 0 ] || die "needs root"
case ${1:-} in
install) install_packages ;;
start)
  install_packages
  write_configuration
  start_munge
  start_database
  start_controller
  start_node
  ;;
status) alive "$STATE/run/slurmctld.pid" slurmctld ;;
stop) stop_all ;;
restart-controller)
  terminate "$STATE/run/slurmctld.pid" slurmctld
  start_controller
  ;;
*) die "usage: cluster.sh install | start | status | stop | restart-controller" ;;
esac
