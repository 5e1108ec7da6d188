"""Which arguments are taken for secrets, and which are not. The tokens are made up."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, strategies as st

from execsnoop import cli, redact
from execsnoop.model import ProcessEvent
from execsnoop.redact.redactor import Redactor

A40 = "a1B2" * 10
HEX = "0123456789abcdef"

# What a shell would be told; `«…»` is what must be hidden, and nothing else.
HIDDEN = """
foo --password «hunter2» x
foo --password=«hunter2» x
foo -password «hunter2»
foo --db-password «x» --dbPassword=«y» --PASSWORD «z»
foo --passwd «x» --passphrase «y» --secret «z» --client-secret=«w»
foo --token «x» --auth-token=«y» --accessToken «z» --api-key «w» --apikey=«v» --secret-access-key «u»
FOO_TOKEN=«x» DB_PASSWORD=«y» AWS_SECRET_ACCESS_KEY=«z» MYSQL_PWD=«w» PGPASSWORD=«v» make
env 'SECRET=«a b c»' make
mysql -uroot -p«hunter2» db
/usr/bin/mysqldump -p«hunter2» db
mariadb-admin -p«3306» ping
sshpass -p «hunter2» ssh -p 22 host
sshpass -p«hunter2» ssh -p 22 host
mongosh -u me -p «x»
docker login -u me -p «x» registry
podman login -p«x» registry
docker exec db mysql -p«x»
curl -u me:«x» https://host/
curl -ume:«x» --proxy-user you:«y» https://host/
curl -b 'session=«x»' https://host/
curl --oauth2-bearer «x» https://host/
curl -H 'Authorization: Bearer «x.y»' https://host/
curl -H 'authorization: «abc»' -H 'X-Api-Key: «x»' -H 'Cookie: «a=b; c=d»' -H 'PRIVATE-TOKEN: «x»'
curl -d 'user=me&password=«x»&go=1' 'https://host/?a=1&access_token=«x»&b=2'
curl -d '{"user": "me", "password": "«a b»", "n": 1}' https://host/
curl https://me:«x»@host/ ftp://me:«p@ss»@host/path
git clone https://oauth2:«x»@host/repo.git
git -c 'http.extraHeader=Authorization: Basic «dTpw»' fetch
psql postgresql://me:«x»@host:5432/db
smbclient -U me%«x» //host/share
lftp -u me,«x» host
redis-cli -a «x» ping
ldapsearch -x -D cn=me -w «x» -b dc=a
openssl enc -aes256 -k «x»
openssl rsa -passin pass:«x» -passout file:/x
zip -P «x» -r a.zip b
7z x -p«x» a.7z
useradd -p «x» me
xfreerdp /u:me /p:«x»
snmpget -v2c -c «public» host sysDescr
ipmitool -U me -P «x» -H host
java -Dspring.datasource.password=«x» -jar a.jar
keytool -storepass «x» -keypass «y» -list
mount -t cifs -o username=me,password=«x»,ro //host/a /b
helm install a b --set db.user=me,db.password=«x» --set db.password=«x,y»
npm config set //registry/:_authToken=«x»
docker run -e API_TOKEN=«x» --env=DB_PASSWORD=«y» image
sh -c 'FOO_TOKEN=«x» make && mysql -p«y» db; curl -u "me:«z»" host'
bash -lc 'export DB_PASSWORD="«a b»"; run --password «c» -p 3'
ssh host "mysql -p«x» -e 'select 1'"
"""
SHAPES = f"""
x AKIA{"ABCD2345" * 2}
x ghp_{A40}
x token-is:gho_{A40}
x github_pat_{A40}
x glpat-{"a1B2_" * 4}
x xoxb-123456789012-abcdef
x eyJhbGciOiJI.eyJzdWIiOiIx.abc-_
x AIza{"a1B2_" * 7}
x sk_live_{A40}
x sk-proj-{A40}
x npm_{"a1B2" * 9}
x hvs.{A40}
x AGE-SECRET-KEY-1{"A2B3" * 12}
"""
KEPT = f"""
mkdir -p a/b
ssh -p 22 git@github.com
grep -p x file
cp -p a b
git show {HEX * 2}01234567
git checkout ghp_short
blkid -U 123e4567-e89b-12d3-a456-426614174000
mysql -p db
mysql -P 3306 -u root -h host
mysql --password --host x
docker run -p 80:80 image
docker run --name mysql -p3306:3306 -p 127.0.0.1:1:2 mysql
docker run -u 1000:1000 image
curl -o file https://host/path?key=1
git clone https://user@host/x ssh://git@host:22/x
sort --key=2 -k 3
env PWD=/x OLDPWD=/y KEY=3 TOKENS=4
psql --password-file f
x --token-file f --tokens 5 --max-tokens 5 --tokenizer t --passwords-from f --no-password
x --password-stdin
foo --password
foo --password -v
foo --password=
foo --password-file=/x --secret=@/x --token=$TOKEN --password=file:/x --password=env:X
gcc -c -DNDEBUG -o x.o x.c
cc1 -quiet -imultiarch x86_64-linux-gnu -auxbase pass.c
python3 -c 'import secrets; print(secrets.token_hex())'
find / -name *.key -o -name passwd
cat /etc/passwd
ps -u root -p 3
passwd root
apt-get install -y sshpass mysql-client zip
ssh-keygen -t ed25519 -f key
pass show a
sed s/password/x/ file
time 12:30:45
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("line", lines(HIDDEN))
def test_what_is_hidden(line: str) -> None:
    argv = shlex.split(line.replace("«", "").replace("»", ""))
    parts = line.split("«")
    shown = parts[0] + "".join("[redacted]" + part.partition("»")[2] for part in parts[1:])
    assert Redactor().arguments(argv) == shlex.split(shown)


@pytest.mark.parametrize("line", lines(SHAPES))
def test_what_is_hidden_by_its_shape(line: str) -> None:
    (found,) = Redactor().arguments(line.split()[1:])
    assert found.removeprefix("token-is:") == "[redacted]"


@pytest.mark.parametrize("line", lines(KEPT))
def test_what_is_kept(line: str) -> None:
    argv = shlex.split(line)
    assert Redactor().arguments(argv) == argv


def test_a_private_key_keeps_its_frame() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\n"
    found = Redactor().arguments(["x", key])[1]
    assert found == "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----\n"


def test_rules_of_ones_own() -> None:
    redactor = Redactor(["pin", "/corp-[0-9]+/", "/id=(?P<secret>[0-9]+)/"])
    found = redactor.arguments(["x", "--pin", "1", "PIN=2", "corp-77", "id=5", "--pins", "3"])
    assert found == [
        "x",
        "--pin",
        "[redacted]",
        "PIN=[redacted]",
        "[redacted]",
        "id=[redacted]",
        "--pins",
        "3",
    ]


@pytest.mark.parametrize("rule", ["", "a b", "/(/", "/", "//"])
def test_a_rule_that_is_none(rule: str) -> None:
    with pytest.raises(ValueError):
        Redactor([rule])


def test_of_an_event() -> None:
    """The list that exec and exit share is left as it is, and nothing of the secret is among the raw bytes."""
    argv = ["\udcff", "--password", "hunter2"]
    event = ProcessEvent("exec", 1, 1, 0)
    event.argv, event.argv_size_bytes = argv, 20
    event.filename = event.script = f"/run/ghp_{A40}"
    Redactor().redact(event)
    assert argv[2] == "hunter2"
    assert event.argv == ["\udcff", "--password", "[redacted]"] and event.argv_size_bytes == 20
    assert event.filename == event.script == "/run/[redacted]"
    assert event.raw is not None and len(event.raw["argv"]) == 3 and "hunter2" not in str(event.as_dict())
    assert event.incomplete is None


WORDS = st.sampled_from(
    [
        "mysql",
        "-p",
        "-px",
        "sh",
        "-c",
        "--password",
        "a b",
        "'",
        '"',
        "\\",
        "=",
        "x=y",
        "token=",
        "curl",
        "-u",
        "a:b",
    ]
)


@given(st.lists(st.one_of(st.text(), WORDS, st.lists(WORDS).map(" ".join))))
def test_any_arguments_stay_as_many(argv: list[str]) -> None:
    assert len(Redactor().arguments(argv)) == len(argv)


@pytest.mark.parametrize(
    ("options", "output", "expected"),
    [
        ("", "live", False),
        ("", "recording", True),
        ("", "network", True),
        ("--redact", "live", True),
        ("--no-redact", "network", False),
        ("--redact-rule x", "live", True),
        ("--redact-rule x --no-redact", "live", False),
    ],
)
def test_where_it_is_on(options: str, output: str, expected: bool) -> None:
    assert redact.is_on(cli.parser().parse_args(options.split()), output) is expected


def test_a_wrong_rule_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parser().parse_args(["--redact-rule", "a b"])
    assert caught.value.code == 2 and "neither a name nor a regular expression" in capsys.readouterr().err
