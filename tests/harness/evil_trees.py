"""Trees that are small to write and hard to read: a pack of them, for tests.

  evil_trees.py deep LEVELS BASE     one file, LEVELS directories down
  evil_trees.py bomb DIGITS BASE     ten to the power of DIGITS paths, in as many objects as digits
  evil_trees.py wide DIGITS BASE     the same, of a file that BASE has: `a.txt` (its id is read from the repository)

Run in a repository: prints the id of a commit on top of BASE. `--bundle FILE` writes a bundle of it there; otherwise the
objects are put into the repository and the branch that is checked out is moved there.
"""
import hashlib, struct, subprocess, sys, zlib

objects = []


def add(kind, data):
    number = {'commit': 1, 'tree': 2, 'blob': 3}[kind]
    size = len(data)
    byte, size, head = (number << 4) | (size & 15), size >> 4, bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7f, size >> 7
    head.append(byte)
    objects.append(bytes(head) + zlib.compress(data, 1))
    return hashlib.sha1(b'%s %d\0' % (kind.encode(), len(data)) + data).digest()


def git(*arguments, **more):
    return subprocess.run(['git', *arguments], check=True, stdout=subprocess.PIPE, **more).stdout.strip()


shape, number, base = sys.argv[1], int(sys.argv[2]), sys.argv[3]
base = git('rev-parse', base)
leaf = bytes.fromhex(git('rev-parse', base.decode() + ':a.txt').decode()) if shape == 'wide' else add('blob', b'x\n')
names = [b'a'] if shape == 'deep' else [b'%d' % n for n in range(10)]
entries = [b'100644 ' + (b'f' if shape == 'deep' else name) + b'\0' + leaf for name in names]
for _ in range(number if shape == 'deep' else number - 1):
    tree = add('tree', b''.join(entries))
    entries = [b'40000 ' + name + b'\0' + tree for name in names]
# What BASE has stays.
rest = subprocess.run(['git', 'cat-file', 'tree', base + b'^{tree}'], check=True, stdout=subprocess.PIPE).stdout
while rest:
    end = rest.index(b'\0') + 21
    entries.append(rest[:end])
    rest = rest[end:]


def order(entry):
    mode, name = entry[:entry.index(b'\0')].split(b' ', 1)
    return name + (b'/' if mode == b'40000' else b'')


tree = add('tree', b''.join(sorted(entries, key=order)))
who = b'A <a@example.invalid> 1700000000 +0000'
commit = add('commit', b'tree %s\nparent %s\nauthor %s\ncommitter %s\n\nplanted\n' % (tree.hex().encode(), base, who, who))
pack = b'PACK' + struct.pack('>II', 2, len(objects)) + b''.join(objects)
pack += hashlib.sha1(pack).digest()
if '--bundle' in sys.argv:
    with open(sys.argv[sys.argv.index('--bundle') + 1], 'wb') as bundle:
        bundle.write(b'# v2 git bundle\n-%s \n%s refs/devstack/result\n\n' % (base, commit.hex().encode()) + pack)
else:
    git('index-pack', '--stdin', input=pack)
    with open('.git/' + git('symbolic-ref', 'HEAD').decode(), 'w') as head:
        head.write(commit.hex() + '\n')
print(commit.hex())
