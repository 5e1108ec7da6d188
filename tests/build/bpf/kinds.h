/* Every kind of type that BTF has, in structs that can each be an event. */
typedef signed char s8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;
typedef int number;
typedef number again;
typedef char name_t[4];
typedef char letter;

enum color { RED, GREEN = 5, BLUE = 9 };
enum sign { MINUS = -3, PLUS = 3 };
enum tiny { NONE = -1, SOME = 100 } __attribute__((packed));
enum wide { SMALL = 1, LARGE = 0x700000002ULL };
typedef enum { OFF, ON } state;

struct pair {
	int a;
	char tag[4];
};

struct event {
	s8 a;
	u8 b;
	short c;
	u16 d;
	int e;
	u32 f;
	long g;
	unsigned long h;
	s64 i;
	u64 j;
	__int128 k;
	unsigned __int128 l;
};

struct letters {
	_Bool yes;
	char c;
	char text[8];
	char full[4]; /* no room for a NUL */
	char rows[2][4];
	const volatile char cv[4];
	name_t named;
	letter letters[4];
	unsigned char octets[4];
	s8 signs[2];
};

struct floats {
	float f;
	double d;
	double ds[2];
};

struct enums {
	enum color a;
	enum sign b;
	enum tiny c;
	enum wide d;
	state e;
	enum color f[2];
};

struct nowhere;

struct pointers {
	void *p;
	struct nowhere *forward;
	int (*function)(int first, ...);
	const char *const *constant;
	int (*to_array)[3];
	int __attribute__((btf_type_tag("user"))) *tagged;
	void *each[2];
};

struct arrays {
	int a[3];
	u16 b[2][3];
	_Bool c[2];
	struct pair d[2];
	int none[0];
	unsigned __int128 e[1];
};

union either {
	u32 whole;
	u8 parts[4];
};

struct nested {
	struct pair pair;
	union either either;
	struct {
		int x;
		struct {
			int z;
		} y;
	} inner;
	struct {
		int lifted;
		union {
			u32 all;
			u16 half;
		};
	};
};

struct bits {
	u32 a : 3;
	u32 b : 7;
	int c : 5;
	u64 d : 40;
	_Bool e : 1;
	u32 f : 4;
};

struct qualified {
	const int a;
	volatile u16 b;
	again c;
	const volatile again d;
	void *__restrict e;
};

struct packed {
	u8 a;
	u64 b;
	u16 c __attribute__((btf_decl_tag("snoopkit.as:port")));
} __attribute__((packed));

struct tail_of_text {
	u32 count;
	char tail[];
};

struct tail_of_numbers {
	u32 count;
	u16 tail[];
};
