/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Circular lists of embedded nodes. The head is a node of its own. */
#ifndef VIOMMU_LIB_LIST_H
#define VIOMMU_LIB_LIST_H

#include "base/compiler.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* At the end of the list. */
static inline void list_add(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* The node is a list of its own afterwards: deleting it again is harmless. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)
/* The end of a list is not an item: no member of it is touched. */
#define list_node(item, member)                                                          \
	((struct list *)((char *)(item) + offsetof(__typeof__(*(item)), member)))
#define list_for_each(item, head, member)                                                \
	for ((item) = list_entry((head)->next, __typeof__(*(item)), member);             \
	     list_node(item, member) != (head);                                          \
	     (item) = list_entry(list_node(item, member)->next, __typeof__(*(item)),     \
				 member))
/* As above; the body may delete item. */
#define list_for_each_safe(item, tmp, head, member)                                      \
	for ((item) = list_entry((head)->next, __typeof__(*(item)), member),             \
	    (tmp) = list_entry(list_node(item, member)->next, __typeof__(*(item)),       \
			       member);                                                  \
	     list_node(item, member) != (head);                                          \
	     (item) = (tmp), (tmp) = list_entry(list_node(tmp, member)->next,            \
						__typeof__(*(item)), member))

#endif
