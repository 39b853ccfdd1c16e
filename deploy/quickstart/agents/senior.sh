#!/bin/sh
# A scripted senior agent: the working directory holds a merge in progress with conflict markers; both sides and
# both prompts are in the prompt. This one keeps both sides.
set -eu

echo "agent $DEVSTACK_AGENT resolves: $DEVSTACK_TASK_ID"
sed -i -e '/^<<<<<<< /d' -e '/^=======$/d' -e '/^>>>>>>> /d' menu.txt
drinks=$(sed -n 's/^Hot drinks: //p' menu.txt | paste -s -d ',' - | sed 's/,/, /g')
awk -v drinks="$drinks" '/^Hot drinks:/ { if (!done) print "Hot drinks: " drinks; done = 1; next } { print }' \
    menu.txt > menu.new
mv menu.new menu.txt
cat menu.txt
