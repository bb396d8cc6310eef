/* A webcam for machines that have none: preloaded into a decoder child, it answers for one device what a video4linux
 * driver answers, and shows the pictures of a file over and over at 25 a second. Built by test_webcam.py with
 * -DDEVICE, -DFRAMES (each picture a JPEG behind its length), -DWIDTH, -DHEIGHT; -DOPENING or -DSTARTING is the
 * errno that opening it, or taking it into use, fails with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef OPENING
#define OPENING 0
#endif
#ifndef STARTING
#define STARTING 0
#endif
#define BUFFERS 4
#define SIZE (1 << 18)

static int camera = -1, waiting[BUFFERS], count, taken;
static void *memory[BUFFERS];
static FILE *frames;

static int opened(const char *name, const char *path, int flags, int mode) {
    int (*next)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    if (strcmp(path, DEVICE) != 0) return next(path, flags, mode);
    if (OPENING) return errno = OPENING, -1;
    return camera = next("/dev/null", O_RDWR);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return opened("open64", path, flags, mode);
}

static void *mapped(const char *name, void *at, size_t size, int how, int flags, int handle, off_t offset) {
    void *(*next)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, name);
    if (handle < 0 || handle != camera) return next(at, size, how, flags, handle, offset);
    return memory[offset / SIZE] = next(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void *mmap(void *at, size_t size, int how, int flags, int handle, off_t offset) {
    return mapped("mmap", at, size, how, flags, handle, offset);
}

void *mmap64(void *at, size_t size, int how, int flags, int handle, off64_t offset) {
    return mapped("mmap64", at, size, how, flags, handle, offset);
}

static int filled(struct v4l2_buffer *buffer) {
    uint32_t length;
    struct timespec now, pause = {0, 40000000};
    if (!count) return errno = EAGAIN, -1;
    nanosleep(&pause, NULL);
    if (!frames) frames = fopen(FRAMES, "rb");
    if (fread(&length, sizeof length, 1, frames) != 1) {
        rewind(frames);
        if (fread(&length, sizeof length, 1, frames) != 1) return errno = EIO, -1;
    }
    buffer->index = waiting[0];
    memmove(waiting, waiting + 1, --count * sizeof *waiting);
    if (length > SIZE || fread(memory[buffer->index], 1, length, frames) != length) return errno = EIO, -1;
    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->bytesused = length;
    buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    buffer->timestamp.tv_sec = now.tv_sec;
    buffer->timestamp.tv_usec = now.tv_nsec / 1000;
    buffer->sequence = taken++;
    return 0;
}

static int answered(unsigned long request, void *what) {
    struct v4l2_capability *able = what;
    struct v4l2_format *format = what;
    struct v4l2_requestbuffers *wanted = what;
    struct v4l2_buffer *buffer = what;
    struct v4l2_streamparm *rate = what;
    switch ((unsigned)request) {
        case VIDIOC_QUERYCAP:
            memset(able, 0, sizeof *able);
            strcpy((char *)able->card, "Stand-in");
            able->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
            return 0;
        case VIDIOC_G_INPUT:
            *(int *)what = 0;
            return 0;
        case VIDIOC_ENUMINPUT:
            strcpy((char *)((struct v4l2_input *)what)->name, "Stand-in");
            ((struct v4l2_input *)what)->type = V4L2_INPUT_TYPE_CAMERA;
            ((struct v4l2_input *)what)->std = 0;
            return 0;
        case VIDIOC_S_FMT:
            if (STARTING) return errno = STARTING, -1; /* fall through */
        case VIDIOC_G_FMT:
            format->fmt.pix.width = WIDTH;
            format->fmt.pix.height = HEIGHT;
            format->fmt.pix.pixelformat = V4L2_PIX_FMT_MJPEG;
            format->fmt.pix.field = V4L2_FIELD_NONE;
            return 0;
        case VIDIOC_G_PARM:
            rate->parm.capture.timeperframe = (struct v4l2_fract){1, 25};
            return 0;
        case VIDIOC_REQBUFS:
            wanted->count = BUFFERS;
            return 0;
        case VIDIOC_QUERYBUF:
            buffer->length = SIZE;
            buffer->m.offset = buffer->index * SIZE;
            return 0;
        case VIDIOC_QBUF:
            waiting[count++] = buffer->index;
            return 0;
        case VIDIOC_DQBUF:
            return filled(buffer);
        case VIDIOC_STREAMON:
        case VIDIOC_STREAMOFF:
            return 0;
    }
    return errno = ENOTTY, -1;
}

int ioctl(int handle, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *what = va_arg(rest, void *);
    va_end(rest);
    if (handle >= 0 && handle == camera) return answered(request, what);
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return next(handle, request, what);
}
