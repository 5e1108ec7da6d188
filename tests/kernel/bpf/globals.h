/* One member for each global variable of globals.bpf.c, of the same name and type. */
typedef unsigned int id_t;
typedef id_t owner_t;
typedef unsigned long size;
enum level { LOW = -1, NORMAL, HIGH = 100 };
enum mode { OFF, ON = 0x7fffffff };

struct event {
	signed char s8;
	unsigned char u8;
	char letter;
	short s16;
	unsigned short u16;
	int s32;
	unsigned int u32;
	long slong;
	unsigned long ulong;
	long long s64;
	unsigned long long u64;
	__int128 s128;
	unsigned __int128 u128;
	__u8 typed8;
	__u16 typed16;
	__u32 typed32;
	__u64 typed64;
	owner_t owner;
	size length;
	_Bool flag;
	_Bool was_true;
	enum level level;
	enum mode mode;
	float single;
	double ratio;
	char text[8];
	__u16 ports[3];
	int data;
	int zero;
};
