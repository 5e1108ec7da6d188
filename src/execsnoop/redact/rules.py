"""What is taken for a secret, as data."""

from __future__ import annotations

import re

__all__ = [
    "CLIENTS",
    "HEADERS",
    "HEADER_HINTS",
    "NAMES",
    "NAME_HINTS",
    "POINTERS",
    "SHAPES",
    "WHOLE_NAMES",
    "Client",
]

# The end of the name of an option, variable, parameter or field whose value is a secret.
NAMES = (
    r"pass(?:word|wd|phrase|code)|secret|apikey|authtoken|accesstoken|bearer|credentials|storepass|keypass|[-_.](?:pwd|pass)"
    r"|token|(?:api|access|secret|private|auth|account|encryption|shared)[-_.]key"
)
# Whole names beside those.
WHOLE_NAMES = "pass|passin|passout|pw"
# No name has none of these in it.
NAME_HINTS = ("pass", "secret", "apikey", "token", "bearer", "credentials", "pwd", "pw", "key")
# Of headers, in front of a colon.
HEADERS = (
    r"(?:proxy-)?authorization|(?:set-)?cookie|(?:x-)?(?:goog-)?api-?key|x-(?:auth|access|csrf|vault|amz-security)-token"
    r"|(?:private|job)-token|x-auth-key"
)
HEADER_HINTS = ("authorization", "cookie", "key", "token")
# A value that only says where the secret is, or has none.
POINTERS = re.compile(
    r"(?:file|env|fd):|\$|@|<|/dev/|(?:stdin|prompt|-|null|none|true|false)\Z"
    r"|(?:[\d.]+:)?\d+:\d+(?:/\w+)?\Z",  # ports: docker run --name mysql -p3306:3306
    re.I,
)

# Texts that are secrets by their shape, and what each surely has in it; of one with a group named `secret`, only that.
SHAPES = (
    ("AKIA", r"AKIA[0-9A-Z]{16}(?![0-9A-Za-z])"),  # AWS
    ("ASIA", r"ASIA[0-9A-Z]{16}(?![0-9A-Za-z])"),
    ("gh", r"gh[pousr]_[0-9A-Za-z]{36,}"),  # GitHub
    ("github_pat_", r"github_pat_[0-9A-Za-z_]{22,}"),
    ("gl", r"gl(?:pat|ptt|dt|rt|cbt|soat)-[0-9A-Za-z_-]{20,}"),  # GitLab
    ("xox", r"xox[abeoprs]-[0-9A-Za-z-]{10,}"),  # Slack
    ("hooks.slack.com", r"https://hooks\.slack\.com/services/(?P<secret>[0-9A-Za-z/]{20,})"),
    (
        "eyJ",
        r"(?<![0-9A-Za-z_-])eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*",
    ),  # JSON web token
    ("AIza", r"AIza[0-9A-Za-z_-]{35}"),  # Google
    ("ya29.", r"ya29\.[0-9A-Za-z_-]{20,}"),
    ("_live_", r"(?:sk|rk)_live_[0-9A-Za-z]{16,}"),  # Stripe
    ("_test_", r"(?:sk|rk)_test_[0-9A-Za-z]{16,}"),
    ("sk-", r"(?<![0-9A-Za-z])sk-(?:proj-|ant-|svcacct-)?[0-9A-Za-z_-]{32,}"),  # OpenAI, Anthropic
    ("npm_", r"npm_[0-9A-Za-z]{36}"),
    ("pypi-", r"pypi-[0-9A-Za-z_-]{40,}"),
    ("hf_", r"hf_[0-9A-Za-z]{30,}"),  # Hugging Face
    ("dop_v1_", r"dop_v1_[0-9a-f]{64}"),  # DigitalOcean
    ("SG.", r"SG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}"),  # SendGrid
    ("hv", r"(?<![0-9A-Za-z])hv[sbr]\.[0-9A-Za-z_-]{24,}"),  # Vault
    ("AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{40,}"),
    ("PRIVATE KEY", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?P<secret>.*?)(?:-----END|\Z)"),
    ("://", r"[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s/:@?#]*:(?P<secret>[^\s/]+)@"),  # URL
)


class Client:
    """Programs that take a secret by a short option: `attached` (`-pX`), as the next argument (`separate`), or either.

    `after` is an argument that must be there too; `behind` a sign in the value, of which only what follows is secret;
    `is_wrapper`: its options end where the command that it runs begins.
    """

    def __init__(
        self,
        programs: str,
        *,
        attached: str = "",
        separate: str = "",
        after: str = "",
        behind: str = "",
        is_wrapper: bool = False,
    ) -> None:
        self.programs = programs.split()
        self.attached = tuple(attached.split())
        self.separate = frozenset(separate.split())
        self.after = after
        self.behind = behind
        self.is_wrapper = is_wrapper


CLIENTS = (
    Client(
        "mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlslap mysqlbinlog mysqlsh mysql_upgrade "
        "mariadb mariadb-dump mariadb-admin mariadb-import mariadb-show mariadb-check mariadb-slap mariadb-binlog",
        attached="-p",
    ),
    Client("sshpass", attached="-p", separate="-p", is_wrapper=True),
    Client("mongo mongosh mongodump mongorestore mongoexport mongoimport", attached="-p", separate="-p"),
    Client("docker podman nerdctl buildah oc helm az skopeo", attached="-p", separate="-p", after="login"),
    Client("curl", attached="-u -U", separate="-u -U --user --proxy-user", behind=":"),
    Client("curl", attached="-b --cookie=", separate="-b --cookie", behind="="),
    Client("curl", separate="--oauth2-bearer --proxy-pass --tlspassword"),
    Client("wget http https xh", attached="-a", separate="-a --auth", behind=":"),
    Client("smbclient rpcclient smbget smbcacls net", attached="-U", separate="-U --user", behind="%"),
    Client("lftp", attached="-u", separate="-u", behind=","),
    Client("redis-cli", separate="-a"),
    Client(
        "ldapsearch ldapadd ldapmodify ldapdelete ldappasswd ldapwhoami ldapcompare ldapmodrdn",
        attached="-w",
        separate="-w",
    ),
    Client("ldappasswd", attached="-s -a", separate="-s -a"),
    Client("openssl", separate="-k -K -pass"),
    Client("zip unzip sqlcmd bcp", attached="-P", separate="-P"),
    Client("ipmitool", separate="-P"),
    Client("7z 7za 7zr 7zz rar unrar", attached="-p -hp"),
    Client("cqlsh useradd usermod rdesktop", separate="-p"),
    Client("xfreerdp wlfreerdp", attached="/p:"),
    Client("snmpget snmpgetnext snmpwalk snmpbulkwalk snmpset snmptrap", separate="-A -X -c"),
)
