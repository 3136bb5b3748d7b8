"""A Modbus server of another project (pymodbus) for tidegate's tests.

    modbus_server.py tcp PORT            or    modbus_server.py rtu TTY

Unit 1 has in its input registers, from 0: the float 21.5 (ABCD), -2 as i16, 70000 as u32 with the least word first,
"PUMP" and the BCD 1234; in holding registers, from 10: 0..149; coil 3 and discrete input 5 are set.
It prints "ready" when it listens. To other units it does not answer, and each fifth of its answers is damaged on RTU. On TCP
it confirms a write of several registers from 21, and writes 0 instead.
"""

import asyncio
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def device():
    coils = [SimData(address=0, values=[i == 3 for i in range(16)], datatype=DataType.BITS)]
    discrete = [SimData(address=0, values=[i == 5 for i in range(16)], datatype=DataType.BITS)]
    holding = [SimData(address=10, values=list(range(150)), datatype=DataType.REGISTERS)]
    words = [0x41AC, 0x0000, 0xFFFE, 0x1170, 0x0001, 0x5055, 0x4D50, 0x1234]
    inputs = [SimData(address=0, values=words, datatype=DataType.REGISTERS)]
    return SimDevice(id=1, simdata=(coils, discrete, holding, inputs))


answers = 0


def tcp(is_sending, packet):
    """Says nothing in the name of another unit, and forgets what is for register 21."""
    if not is_sending and packet[7:10] == b"\x10\x00\x15":
        return packet[:13] + bytes(len(packet) - 13)
    return b"" if is_sending and packet[6:7] != b"\x01" else packet


def rtu(is_sending, packet):
    """The same; and turns a bit of each fifth answer."""
    global answers
    if not is_sending:
        return packet
    if packet[:1] != b"\x01":
        return b""
    answers += 1
    return bytes([*packet[:-1], packet[-1] ^ 1]) if answers % 5 == 0 else packet


async def main():
    kind, place = sys.argv[1:]
    if kind == "tcp":
        server = ModbusTcpServer(device(), address=("127.0.0.1", int(place)), trace_packet=tcp)
    else:
        server = ModbusSerialServer(
            device(), framer=FramerType.RTU, port=place, baudrate=19200, trace_packet=rtu
        )
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
