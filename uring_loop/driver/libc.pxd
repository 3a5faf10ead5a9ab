# Declarations of the C library that the package uses: sockets, descriptors, epoll,
# memory. No other file repeats them. Flags that are combined with others are ints.

from libc.stdint cimport uint64_t

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t send(int fd, const void *buf, size_t len, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    ssize_t sendto(int fd, const void *buf, size_t len, int flags,
                   const sockaddr *address, unsigned address_size)
    ssize_t recv(int fd, void *buf, size_t len, int flags)
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    int accept4(int fd, sockaddr *address, unsigned *size, int flags)
    int getsockname(int fd, sockaddr *address, unsigned *size)
    int getpeername(int fd, sockaddr *address, unsigned *size)
    int getsockopt(int fd, int level, int name, void *value, unsigned *size)
    int setsockopt(int fd, int level, int name, const void *value, unsigned size)
    int shutdown(int fd, int how)
    int AF_INET
    int AF_INET6
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    int SHUT_RDWR
    int SOCK_CLOEXEC
    int SOCK_NONBLOCK
    int SOCK_STREAM
    int SOL_SOCKET
    int SO_ERROR

cdef extern from "<sys/uio.h>" nogil:
    ssize_t process_vm_readv(
        int pid, const iovec *local, unsigned long local_count,
        const iovec *remote, unsigned long remote_count, unsigned long flags)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        unsigned int sin6_flowinfo
        in6_addr sin6_addr
        unsigned int sin6_scope_id
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY

cdef extern from "<arpa/inet.h>" nogil:
    unsigned short ntohs(unsigned short value)
    unsigned short htons(unsigned short value)
    unsigned int ntohl(unsigned int value)
    unsigned int htonl(unsigned int value)
    int inet_pton(int family, const char *text, void *address)
    const char *inet_ntop(int family, const void *address, char *text, unsigned size)

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *buf, size_t count)
    ssize_t write(int fd, const void *buf, size_t count)
    # Not `close`: methods have that name.
    int close_fd "close" (int fd)

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
        POLLOUT
        POLLERR
        POLLHUP
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout_ms)

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLET
        EPOLLIN
        EPOLLOUT
        EPOLLONESHOT
    union epoll_data:
        int fd
        uint64_t u64
    struct epoll_event:
        unsigned int events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)

cdef extern from "<sys/mman.h>" nogil:
    int MAP_NORESERVE

cdef extern from "<sys/time.h>" nogil:
    struct timeval:
        long tv_sec
        long tv_usec

cdef extern from "<sys/resource.h>" nogil:
    struct rusage:
        timeval ru_utime
        timeval ru_stime
        # Voluntary context switches.
        long ru_nvcsw
    enum:
        RUSAGE_THREAD
    int getrusage(int who, rusage *usage)
