# Runs one server and obeys the lines of its input, which is a pipe from the test process. When that process ends, in
# whatever way, the pipe closes: then the server is stopped and its directory removed. Arguments: the directory of the
# programs, the directory of the data, the port.
trap '' INT
bin=$1
home=$2
port=$3

start() {
    "$bin/postgres" -D "$home/data" -p "$port" >>"$home/log" 2>&1 </dev/null &
    pid=$!
}

stop() {
    kill "-$1" "$pid" 2>/dev/null
    wait "$pid"
}

start
while read -r order; do
    case $order in
        start) start ;;
        stop) stop INT ;;
        immediate) stop QUIT ;;
        kill) stop KILL ;;
    esac
    echo "$order"
done
stop INT
# After a kill its children may go on writing for a moment.
while [ -e "$home" ] && ! rm -rf "$home" 2>/dev/null; do sleep 0.1; done
