#!/bin/sh
# A scripted stand-in for a coding agent. A real one gets the same: a clone of the repository as working
# directory, the prompt on stdin and in $DEVSTACK_PROMPT_FILE, what happened before in that prompt.
set -eu

echo "agent $DEVSTACK_AGENT works on $DEVSTACK_TASK_ID, attempt $DEVSTACK_ATTEMPT"

hot_drink() {
    sleep 1 # long enough that both agents start from the same menu
    sed -i "s/^Hot drinks:.*/Hot drinks: $1/" menu.txt
    mkdir -p prices
    echo "$2" > "prices/$1"
}

case "$DEVSTACK_TASK_ID" in
T-1)
    printf 'Menu\n====\nHot drinks: none yet\nCake: apple\n' > menu.txt
    ;;
T-2) hot_drink coffee 3 ;;
T-3) hot_drink tea 2 ;;
T-4)
    if grep -q 'check failed' "$DEVSTACK_PROMPT_FILE"; then
        echo "the check said that the sum is wrong: adding up again"
        total=0
        for price in prices/*; do total=$((total + $(cat "$price"))); done
    else
        total=4 # a wrong guess, as agents sometimes make
    fi
    echo "$total" > bill.txt
    ;;
T-5)
    if grep -q 'What happened before' "$DEVSTACK_PROMPT_FILE"; then
        echo "the last attempt waited too long: not waiting this time"
        echo "no answer yet; asked for 40 cups" > supplier.txt
    else
        echo "waiting for the supplier ..."
        sleep 600
    fi
    ;;
esac
