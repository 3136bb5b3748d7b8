"""Runs a Modbus server of another project (pymodbus) for tidegate's tests.

    modbus_server.py tcp PORT            or    modbus_server.py rtu TTY

The server has only unit 1, and does not answer requests for other units. Its input registers from 0
contain the float 21.5 (ABCD), -2 as i16, 70000 as u32 with the least word first, "PUMP" and the BCD
1234. Its holding registers from 10 contain 0 to 149. Coil 3 and discrete input 5 are set.

On RTU every fifth answer is damaged. On TCP a write of several registers from 21 is confirmed, and
writes 0 instead. The server prints "ready" when it listens.
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
    """Drops answers of other units, and zeroes a write to register 21."""
    if not is_sending and packet[7:10] == b"\x10\x00\x15":
        return packet[:13] + bytes(len(packet) - 13)
    return b"" if is_sending and packet[6:7] != b"\x01" else packet


def rtu(is_sending, packet):
    """Drops answers of other units, and flips a bit of every fifth answer."""
    global answers
    if not is_sending:
        return packet
    if packet[:1] != b"\x01":
        return b""
    answers += 1
    return bytes([*packet[:-1], packet[-1] ^ 1]) if answers % 5 == 0 else packet


async def main():
    kind, address = sys.argv[1:]
    if kind == "tcp":
        server = ModbusTcpServer(device(), address=("127.0.0.1", int(address)), trace_packet=tcp)
    else:
        server = ModbusSerialServer(
            device(), framer=FramerType.RTU, port=address, baudrate=19200, trace_packet=rtu
        )
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
