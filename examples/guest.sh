# The only program of each container of examples/agent.py. It takes its secret, says
# that it is ready, and takes each new secret as soon as there is one.

ask() {
    path=$1
    shift
    curl -s --unix-socket /dev/lxd/sock "$@" "http://lxd$path"
}

take_secret() {
    ask /1.0/config/user.secret > /run/secret.new
    mv /run/secret.new /run/secret
}

take_secret
ask /1.0 -X PATCH -H 'Content-Type: application/json' -d '{"state":"Ready"}'
# With the past events: no change is missed, whenever this request arrives.
ask '/1.0/events?type=config&since=1970-01-01T00:00:00Z' -N | while read -r _event; do
    take_secret
done
