"""A real mail server for the tests: aiosmtpd on a free port of 127.0.0.1.

    smtpd.py plain|starttls|implicit [--cert FILE --key FILE] [--no PLAIN|LOGIN]

It prints its port, then each message it took as a line of JSON, and ends when
its input does. The one login is voicemail with pa55word; with a certificate it
is demanded.
"""
import argparse, asyncio, base64, json, ssl, sys

from aiosmtpd.smtp import SMTP, AuthResult

args = argparse.ArgumentParser()
args.add_argument("mode", choices=["plain", "starttls", "implicit"])
args.add_argument("--cert")
args.add_argument("--key")
args.add_argument("--no", action="append", default=[])
args = args.parse_args()


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or args.mode == "implicit",
            "login": session.auth_data.login.decode() if session.auth_data else "",
            "mechanism": getattr(session.auth_data, "mechanism", ""),
            "content": base64.b64encode(envelope.content).decode(),
        }), flush=True)
        return "250 2.0.0 OK: queued as 4AF3C7"


def login(server, session, envelope, mechanism, data):
    data.mechanism = mechanism
    right = data.login == b"voicemail" and data.password == b"pa55word"
    return AuthResult(success=right, handled=False, auth_data=data)


context = None
if args.mode != "plain":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.cert, args.key)


class Data:  # aiosmtpd's own login data takes no further names
    pass


def session():
    return SMTP(
        Keeper(), hostname="mail.test", enable_SMTPUTF8=False,
        tls_context=context if args.mode == "starttls" else None,
        require_starttls=args.mode == "starttls",
        authenticator=lambda s, n, e, m, d: login(s, n, e, m, wrap(d)),
        auth_required=args.mode != "plain", auth_require_tls=args.mode == "starttls",
        auth_exclude_mechanism=args.no,
    )


def wrap(given):
    data = Data()
    data.login, data.password = given.login, given.password
    return data


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        session, "127.0.0.1", 0, ssl=context if args.mode == "implicit" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()

asyncio.run(serve())
