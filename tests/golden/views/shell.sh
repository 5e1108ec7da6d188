cd /src/hello && /usr/bin/make -k -j2
cd /src/hello && /usr/bin/cc -O1 -Wall -c -o hello.o hello.c
cd /src/hello && /usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -imultiarch x86_64-linux-gnu hello.c -quiet -dumpbase hello.c -dumpbase-ext .c -mtune=generic -march=x86-64 -O1 -Wall -fasynchronous-unwind-tables -o /tmp/ccsDEGfL.s
cd /src/hello && /usr/bin/cc -O1 -Wall -c -o greet.o greet.c
cd /src/hello && /usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -imultiarch x86_64-linux-gnu greet.c -quiet -dumpbase greet.c -dumpbase-ext .c -mtune=generic -march=x86-64 -O1 -Wall -fasynchronous-unwind-tables -o /tmp/cckDM0Zp.s
cd /src/hello && /usr/bin/as --64 -o hello.o /tmp/ccsDEGfL.s
cd /src/hello && /usr/bin/cc -O1 -Wall -c -o words.o words.c
cd /src/hello && /usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -imultiarch x86_64-linux-gnu words.c -quiet -dumpbase words.c -dumpbase-ext .c -mtune=generic -march=x86-64 -O1 -Wall -fasynchronous-unwind-tables -o /tmp/ccQSM8GN.s
cd /src/hello && /usr/bin/as --64 -o greet.o /tmp/cckDM0Zp.s
cd /src/hello && /usr/bin/cc -O1 -Wall -c -o broken.o broken.c
cd /src/hello && /usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -imultiarch x86_64-linux-gnu broken.c -quiet -dumpbase broken.c -dumpbase-ext .c -mtune=generic -march=x86-64 -O1 -Wall -fasynchronous-unwind-tables -o /tmp/ccQe1XE9.s
cd /src/hello && /usr/bin/as --64 -o words.o /tmp/ccQSM8GN.s
cd /src/hello && /usr/bin/cc -o hello hello.o greet.o words.o
cd /src/hello && /usr/lib/gcc/x86_64-linux-gnu/12/collect2 -plugin /usr/lib/gcc/x86_64-linux-gnu/12/liblto_plugin.so -plugin-opt=/usr/lib/gcc/x86_64-linux-gnu/12/lto-wrapper -plugin-opt=-fresolution=/tmp/ccycJClr.res -plugin-opt=-pass-through=-lgcc -plugin-opt=-pass-through=-lgcc_s -plugin-opt=-pass-through=-lc -plugin-opt=-pass-through=-lgcc -plugin-opt=-pass-through=-lgcc_s --build-id --eh-frame-hdr -m elf_x86_64 --hash-style=gnu --as-needed -dynamic-linker /lib64/ld-linux-x86-64.so.2 -pie -o hello /usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu/Scrt1.o /usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu/crti.o /usr/lib/gcc/x86_64-linux-gnu/12/crtbeginS.o -L/usr/lib/gcc/x86_64-linux-gnu/12 -L/usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu -L/usr/lib/gcc/x86_64-linux-gnu/12/../../../../lib -L/lib/x86_64-linux-gnu -L/lib/../lib -L/usr/lib/x86_64-linux-gnu -L/usr/lib/../lib -L/usr/lib/gcc/x86_64-linux-gnu/12/../../.. hello.o greet.o words.o -lgcc --push-state --as-needed -lgcc_s --pop-state -lc -lgcc --push-state --as-needed -lgcc_s --pop-state /usr/lib/gcc/x86_64-linux-gnu/12/crtendS.o /usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu/crtn.o
cd /src/hello && /usr/bin/ld -plugin /usr/lib/gcc/x86_64-linux-gnu/12/liblto_plugin.so -plugin-opt=/usr/lib/gcc/x86_64-linux-gnu/12/lto-wrapper -plugin-opt=-fresolution=/tmp/ccycJClr.res -plugin-opt=-pass-through=-lgcc -plugin-opt=-pass-through=-lgcc_s -plugin-opt=-pass-through=-lc -plugin-opt=-pass-through=-lgcc -plugin-opt=-pass-through=-lgcc_s --build-id --eh-frame-hdr -m elf_x86_64 --hash-style=gnu --as-needed -dynamic-linker /lib64/ld-linux-x86-64.so.2 -pie -o hello /usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu/Scrt1.o /usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu/crti.o /usr/lib/gcc/x86_64-linux-gnu/12/crtbeginS.o -L/usr/lib/gcc/x86_64-linux-gnu/12 -L/usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu -L/usr/lib/gcc/x86_64-linux-gnu/12/../../../../lib -L/lib/x86_64-linux-gnu -L/lib/../lib -L/usr/lib/x86_64-linux-gnu -L/usr/lib/../lib -L/usr/lib/gcc/x86_64-linux-gnu/12/../../.. hello.o greet.o words.o -lgcc --push-state --as-needed -lgcc_s --pop-state -lc -lgcc --push-state --as-needed -lgcc_s --pop-state /usr/lib/gcc/x86_64-linux-gnu/12/crtendS.o /usr/lib/gcc/x86_64-linux-gnu/12/../../../x86_64-linux-gnu/crtn.o
cd /src/hello && /bin/sh -c './hello "wide 世界" | grep -q wide && touch checked'
cd /src/hello && ./hello 'wide 世界'
cd /src/hello && /usr/bin/grep -q wide
cd /src/hello && /usr/bin/touch checked
cd /src/hello && /bin/sh ./check.sh
cd /src/hello && /usr/bin/env GREETING=hello ./hello $'a\x0ab\x1b[2J\xff'
cd /src/hello && ./hello $'a\x0ab\x1b[2J\xff'
cd /src/hello && /usr/bin/setsid sh -c 'sleep 0.2; true'
cd /src/hello && /usr/bin/sh -c 'sleep 0.2; true'
cd /src/hello && /usr/bin/sh -c 'kill -SEGV $$'
cd /src/hello && /usr/bin/sleep 0.2
